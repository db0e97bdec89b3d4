"""By which commit a result says that it was measured."""

from tnlayers.files import origin


def test_a_copy_without_git_is_told_its_commit(monkeypatch):
    monkeypatch.setattr(origin, "git", lambda *arguments: None)
    assert origin.commit() is None
    monkeypatch.setenv("TNLAYERS_COMMIT", "0" * 40)
    assert origin.commit() == "0" * 40


def test_a_changed_library_is_told(monkeypatch):
    changed = []
    answers = {"ls-files": "tnlayers/files/origin.py", "rev-parse": "1" * 40}
    monkeypatch.setattr(origin, "git", lambda name, *rest: None if name in changed else answers.get(name, ""))
    assert origin.commit() == "1" * 40
    changed.append("diff")
    assert origin.commit() == "1" * 40 + "-dirty"
