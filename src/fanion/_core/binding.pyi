from typing import final

@final
class Binder: ...
