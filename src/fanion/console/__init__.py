"""The console: what a server does and what it serves, as web pages beside the probes, to be read
(docs/console.md).

    exchange    a request and its answer; plain values out of a query, or a page that says what is wrong with it
    access      who may read: names, tokens, sessions, forms
    site        from a request to an answer: checks, pages by their paths, headers
    rendering   templates and the words for numbers and times; static files
    history     the server's numbers over the last minutes
    reader      a process that reads store and journal, one question at a time
    questions   what is asked of it, and what it answers; `fanion.app.answering` does (preview_questions: theirs)
    now         the page of that name
    pages       flags and what if; held: keys, lists, journal, overrides; experiments, events, previews: theirs
    links       addresses of pages with names in them
    plots       pictures as SVG, drawn here

It lives in the operations process, which the workers don't know of, and there in what probes leave of it:
figures come from the memory that workers count in; all that opens a file is asked of a reader. Nothing is
changed from here.

Jinja2 is the extra `fanion[console]`, imported with the first page. Static files are in the package, with their
licences, as npm has them: htmx 2.0.11 and uPlot 1.6.32. Nothing is loaded from elsewhere, and no page has a
script, a style or a handler in its text: `Content-Security-Policy` says so to browsers. Without JavaScript
pages are whole, but for the lines over time, and stand still.

Decision, 2026-11: htmx 2 and not 4, which is smaller by 3 KB and has no way to be told not to make functions of
attributes (`allowEval`); the policy would stop it, and one bar is better behind another.

Decision, 2026-11: contexts that are typed in are sent as forms, not in the address: what stands in an address
stands in a browser's history and in proxies' logs.

Decision, 2026-11: on a loopback address there is no token, as `/metrics` has none: whoever runs a demo wants to
see it. Where other people have accounts on the machine, `server.console = "token"`; events show users'
attributes."""

from importlib.util import find_spec


def missing_library() -> str:
    """What the console lacks; "" where it is all there."""
    return "" if find_spec("jinja2") else "jinja2"
