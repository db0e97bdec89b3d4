"""The torch layers: what a user holds."""
