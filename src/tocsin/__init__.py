"""Tocsin calls HTTP endpoints on time and keeps what happened."""
