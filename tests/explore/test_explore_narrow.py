"""The explorer's page on a telephone and on a desk: every text is legible, in its own place, and within its disc."""

import chromium
import pytest
from quiet import quiet

import tnlayers as tnl
from tnlayers.explore.data import page_data
from tnlayers.explore.grid import Choice, Grid, of_spec
from tnlayers.explore.page import save_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium here: apt install chromium"),
]

IN, OUT = (4, 7, 7, 4) * 3, (2, 3, 4, 3) * 3
SIZED = [("mera", 8), ("tucker", 12), ("tree", 12), ("mpo", 12), ("kronecker", 8), ("ring", 4), ("cp", 4), ("peps", 8)]
SMALLEST = """Math.min(...[...document.querySelectorAll('svg text')].filter(text => text.getBoundingClientRect().height)
    .map(text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
# Names that are wider than the disc at their height, labels that lie on each other, and all that leaves the picture.
WRONG = """(picture => {
    const wrong = [];
    const boxes = chosen => [...document.querySelectorAll(chosen)].map(e => [e.textContent, e.getBoundingClientRect()]);
    for (const node of document.querySelectorAll('#diagram .operand')) {
        const disc = node.querySelector('.disc').getBoundingClientRect();
        for (const text of node.querySelectorAll('text')) {
            const box = text.getBoundingClientRect();
            if (box.left < disc.left || box.right > disc.right) wrong.push('wider than its disc: ' + text.textContent);
        }
    }
    for (const [text, box] of boxes('#diagram text')) {
        const across = box.left < picture.left || box.right > picture.right;
        if (across || box.top < picture.top || box.bottom > picture.bottom) wrong.push('cut off: ' + text);
    }
    const labels = boxes('#diagram text.label');
    labels.forEach(([one, a], k) => labels.slice(k + 1).forEach(([two, b]) => {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top); // boxes are higher than their letters
        if (wide > 0 && high > 0.3 * Math.min(a.height, b.height)) wrong.push(`on each other: ${one} and ${two}`);
    }));
    return wrong;
})(document.getElementById('diagram').getBoundingClientRect())"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One page per network, made with the planner's fastest search: what is looked at is the drawing."""
    folder = tmp_path_factory.mktemp("narrow")
    files = {}
    for network, cores in SIZED:
        made = quiet(lambda n=network, k=cores: tnl.spec(n, in_modes=IN[:k], out_modes=OUT[:k]))
        part = Choice("", of_spec(made))
        files[network, cores] = folder / f"{network}.html"
        save_page(page_data(Grid(choices=(part,), batches=(64,), optimizers=("greedy",))), files[network, cores])
    return files


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("sized", SIZED, ids=str)
def test_texts_are_legible_and_apart(browser, pages, sized, width):
    browser.errors.clear()
    browser.open(pages[sized], size=(width, 1000), dark=width == 390)
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    for _ in range(3):
        assert browser.ask(WRONG) == []
        browser.ask("actions.next()")
    if width == 390:
        assert browser.ask(SMALLEST) >= 9
    assert browser.errors == []
