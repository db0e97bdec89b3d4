"""Running plans on torch: primitives, the planned backward pass, prepared matrices, workspace, inference."""
