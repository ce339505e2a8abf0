"""Tests of recordings and of what replays them."""
