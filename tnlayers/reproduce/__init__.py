"""The paper's tables and figures beside what was measured here: what to run, what was run, and the page that shows it.

Numbers of the paper are those of arXiv 1904.06194; accuracies of its figures are read off the drawings.
"""
