"""Results of experiments (docs/results.md): from rows to differences that can be trusted.

Modules: `statistics` (arithmetic on moments).

Decisions
    2026-11  Welch, CUPED and ratios are a few lines of our own over `scipy.special`, and tea-tasting, which has
             them too, is what the tests hold them to, to 1e-9. At run time it would cost 3 s of imports a command
             and ten packages (ibis, sqlglot, narwhals), and its results keep back the variances by which several
             runs are combined. The sample ratio is chi-square over all variants, where it compares pairs.
    2026-11  A finding rests on the always-valid test of the absolute difference alone: results are looked at every
             day, and a fixed test that is looked at a hundred times finds something in a third of all experiments
             without any effect.
"""
