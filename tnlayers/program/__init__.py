"""Programs: a contraction path as flat steps, the layouts they need, and how a batch runs through them."""

from tnlayers.program.program import Arrange, Array, Multiply, Primitives, Program, Reduce, Shape, Step, View

__all__ = ["Arrange", "Array", "Multiply", "Primitives", "Program", "Reduce", "Shape", "Step", "View"]
