"""The variance of a weight whose cores are drawn on spheres."""

from math import exp, log, prod


def weight_variance(graph, norms):
    """The exact mean of E[W^2] for cores drawn on spheres of these norms."""
    total = sum(log(norms[name] ** 2 / prod(shape)) for name, shape in graph.shapes.items())
    total += sum(log(graph.sizes[i]) for i in graph.summed)
    return exp(total - sum(log(graph.sizes[i]) for i in graph.shared))
