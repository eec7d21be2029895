"""Pretrained encoders of texts and pictures, and low-rank updates of them; below the wings, which share them."""
