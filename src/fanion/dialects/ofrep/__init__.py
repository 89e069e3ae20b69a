"""OpenFeature's remote evaluation protocol. Semantics are in the definitions; its rules stand in
docs/apis/ofrep.md.

Reading order: `naming` (which flag a key means), `needs` (which flags can't do without a targeting key), `emit`
(what is rendered when definitions are published), `schema` (bodies), `served` (what is at hand of an environment),
`evaluate` (one flag, all flags), `manifest`, `envelope` (heads and errors), `routes`.
"""
