"""Pages that scripts write parts of: what stands between `<!-- name -->` and `<!-- /name -->` is a script's."""

from __future__ import annotations


def filled(page: str, name: str, content: str) -> str:
    """The page with other content between the marks of a name.

    Raises:
        ValueError: If the page does not have these two marks, each once and on a line of its own.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"The page has no place for {name!r}: it wants {begin.strip()} and {end}, once each.")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{content.rstrip()}\n{end}{rest.partition(end)[2]}"
