"""`python -m bench`: every bench in one interleaved session, each target beside what was found, and a report.

Modules: `runs` (what is run, and how briefly) <- `session` (rounds: one run of each, A B A B, and what they said);
`targets` (the project's table: what, how much, by which figure), `machine` (what it ran on), `text` and `page` (the
report in Markdown, and as a page with plots) <- `command`.

A bench says its figures by `bench.figures`; the session runs it once a round, so that a figure's spread is that of
the hour and not of the minute, and what an hour of other work does to one bench it does to all. Ratios to another
server are made within one run, where both took turns. Written: `bench/results/latest.json` (machine, versions,
commands, every value), beside it `report.md`, `report.html` and the plots.

Decisions
    2026-11  A round runs each bench once, as its own command. Options: one process that imports them all, or
             commands. What one bench leaves in memory, in caches or of threads would be measured by the next, and
             each has to be rerun by hand as the report says it was run.
    2026-11  Plots by matplotlib, of the extra `bench`. Options: own SVG, a library in the page. The page has to be
             read from a file without a network, and none of it is served.
"""
