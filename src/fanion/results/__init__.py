"""Results of experiments (docs/results.md): from rows to differences that can be trusted.

Modules: `compute` (which experiments there are, and all that is said of one) -> `queries` (moments and counts,
`cells`) -> `tables` (what they are asked of: SQL over the rows); and `comparing` (moments to findings and words) ->
`statistics` (arithmetic on moments). `report` is the object that comes of it, `shown` and `plot` are what it looks
like; `numbers` has the sums that a query of moments asks for. `derived`: metrics of experiments that nobody wrote
out; `usage`: how often flags were asked for. `optimising` and `bandit` propose weights for policies out of the same
rows (docs/optimise.md).

Decisions
    2026-11  Welch, CUPED and ratios are a few lines of our own over `scipy.special`, and tea-tasting, which has
             them too, is what the tests hold them to, to 1e-9. At run time it would cost 3 s of imports a command
             and ten packages (ibis, sqlglot, narwhals), and its results keep back the variances by which several
             runs are combined. The sample ratio is chi-square over all variants, where it compares pairs.
    2026-11  Experiments are a document of their environment's bundle: published and rolled back with the flags that
             they are about, in the same transaction, and no file or table beside the store that could differ.
    2026-11  A `decision` that an SDK sent is no exposure: it says what a unit would get, of all flags at once
             (docs/apis/traffical.md: Event answers).
    2026-11  A finding rests on the always-valid test of the absolute difference alone: results are looked at every
             day, and a fixed test that is looked at a hundred times finds something in a third of all experiments
             without any effect.
"""
