"""The models that are trained, cut where the network runs through them."""
