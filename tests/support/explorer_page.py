"""What a test reads from the explorer's page and does on it."""

import time

SPEC = "mpo(in=4x7x7x4, out=4x4x4x4, bond=16)"
FIELDS = ("flops", "bytes", "largest", "memory")


def shown(page, column):
    """One column of the table of prices, to the last digit: 1 is the order on view, 2 the planner's."""
    rows = "[...document.querySelectorAll('#totals tr')].slice(1)"
    texts = page.ask(f"{rows}.map(row => [row.dataset.field, row.children[{column}].title])")
    return {field: int(text) for field, text in texts}


def counts(price):
    return {field: getattr(price, field) for field in FIELDS}


def names(page):
    return page.ask("[...document.querySelectorAll('#diagram .operand')].map(node => node.dataset.name)")


def contract(page, *pairs):
    for pair in pairs:
        for name in pair:
            page.click(f"[data-name='{name}']")


def position(page):
    return page.ask("document.getElementById('position').textContent")


def saved(page, name):
    """The text of a downloaded file."""
    file, end = page.downloads / name, time.monotonic() + 10
    while not file.exists() or not file.stat().st_size:
        assert time.monotonic() < end, "nothing was saved"
        page.ask("1")
    return file.read_text()


# Texts and discs that stick out of the picture.
OUTSIDE = """(picture => [...document.querySelectorAll('#diagram text, #diagram .disc')].filter(thing => {
    const box = thing.getBoundingClientRect();
    return box.left < picture.left || box.right > picture.right || box.top < picture.top || box.bottom > picture.bottom;
}).map(thing => thing.outerHTML))(document.getElementById('diagram').getBoundingClientRect())"""
