"""A browser, and the explorer's page in it."""

import chromium
import pytest
from explorer_page import SPEC

from tnlayers.explore.data import page_data
from tnlayers.explore.grid import make_grid
from tnlayers.explore.page import save_page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = chromium.Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    grid = make_grid(SPEC, batches=[1, 128], bonds=[8], networks=["cp", "ring"], optimizers=["auto", "greedy"])
    path = tmp_path_factory.mktemp("page") / "page.html"
    save_page(page_data(grid), path)
    return path


@pytest.fixture
def page(browser, file):
    """The page, just opened; whatever a test does, nothing is loaded and nothing goes wrong."""
    browser.requests.clear()
    browser.errors.clear()
    browser.open(file)
    yield browser
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "blob"}
