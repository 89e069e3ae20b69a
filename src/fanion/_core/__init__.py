"""The compiled core: stubs and built extensions only, no logic. Sources live in `ext/fanion/_core`."""
