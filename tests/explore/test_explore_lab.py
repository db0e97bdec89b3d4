"""The explorer in JupyterLab itself: a notebook is run, the widget is clicked, and Python has the order.

JupyterLab is no requirement of the library's own tests: this one is skipped where `jupyter-lab` is not on the path
(`pip install jupyterlab`, in any environment). The kernel is this interpreter; the widget's front end comes with
anywidget and ipywidgets, from this environment.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import chromium
import pytest

LAB = shutil.which("jupyter-lab")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium here: apt install chromium"),
    pytest.mark.skipif(LAB is None, reason="there is no JupyterLab here: pip install jupyterlab"),
]

SECONDS = 60
SOURCES = (
    "import tnlayers as tnl\n"
    "widget = tnl.explore('mpo(in=4x7x7x4, out=4x4x4x4, bond=16)', batch=128)\n"
    "widget.reset()\n"
    "widget",
    "print('order:', widget.order.path)",
)
# The widget lives in a shadow root.
ROOT = "[...document.querySelectorAll('.jp-OutputArea-output div')].map(e => e.shadowRoot).find(Boolean)"


def wait(browser, question):
    """The answer as soon as there is one."""
    end = time.monotonic() + SECONDS
    while not (found := browser.ask(question)):
        assert time.monotonic() < end, question
        time.sleep(0.2)
    return found


def press(browser, expression):
    """A real click on the middle of an element that JavaScript finds, once JupyterLab has ceased to move it."""
    middle = f"""(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();
        return [r.x + r.width / 2, r.y + r.height / 2]; }})({expression})"""
    places = [browser.ask(middle)]
    end = time.monotonic() + SECONDS
    while len(places) < 3 or not places[-1] == places[-2] == places[-3]:
        assert time.monotonic() < end, expression
        time.sleep(0.25)
        places.append(browser.ask(middle))
    x, y = places[-1]
    for kind in ("mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def run_cell(browser, number):
    """Choose a cell and press Shift and Enter."""
    press(browser, f"document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputArea-editor')[{number}]")
    wait(browser, f"document.querySelectorAll('.jp-Notebook .jp-CodeCell')[{number}].contains(document.activeElement)")
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key="Enter", windowsVirtualKeyCode=13, modifiers=8)


@pytest.fixture
def address(tmp_path):
    """A JupyterLab of its own, with one notebook and a kernel that is this interpreter."""
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**blank, "id": f"cell-{k}", "source": source} for k, source in enumerate(SOURCES)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "explore.ipynb").write_text(json.dumps(notebook))
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "run", "JUPYTER_DATA_DIR": "data"}
    names["JUPYTERLAB_WORKSPACES_DIR"] = "workspaces"
    home = {name: f"{tmp_path}/{folder}" for name, folder in names.items()}
    home["JUPYTER_PATH"] = f"{tmp_path}/jupyter:{sys.prefix}/share/jupyter"
    home["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [LAB, "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={tmp_path}/files", "--LabApp.news_url="]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **home}, stdout=log, stderr=log)
    end = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
            break
        except OSError:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.3)
    yield f"http://127.0.0.1:{port}/lab/tree/explore.ipynb"
    server.terminate()
    server.wait(30)


def test_clicks_in_jupyterlab_reach_python(tmp_path, address):
    (tmp_path / "chromium").mkdir()
    browser = chromium.Browser(tmp_path / "chromium")
    try:
        browser.send("Emulation.setDeviceMetricsOverride", width=1300, height=1400, deviceScaleFactor=1, mobile=False)
        browser.send("Page.navigate", url=address)
        wait(browser, "document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputArea-editor').length === 2")
        wait(browser, "Boolean(document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]'))")
        run_cell(browser, 0)
        operand = f"{ROOT}?.querySelector('#diagram .operand[data-name=\"{{}}\"]')"
        position = f"{ROOT}.querySelector('#position').textContent"
        for step, pair in enumerate((("core_3", "core_2"), ("x", "core_0"))):
            for name in pair:
                wait(browser, f"Boolean({operand.format(name)})")
                press(browser, operand.format(name) + ".querySelector('.disc')")
            wait(browser, f"{position}.startsWith('step {step + 1} ')")
        run_cell(browser, 1)
        wait(browser, "document.body.innerText.includes('order: ((4, 3), (0, 1))')")
    finally:
        browser.screenshot(tmp_path / "lab.png", whole=False)
        browser.close()
