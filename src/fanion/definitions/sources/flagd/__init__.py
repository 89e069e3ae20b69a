"""flagd's flag definitions (docs/apis/flagd.md): `source` and `files` read and check a flag set, `targeting` its
rules; `steps` makes computed slots of them, `branches` tests where these fit (in a `graph`), `lowering` answers."""
