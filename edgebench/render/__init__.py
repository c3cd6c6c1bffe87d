"""Tables for people and for programs; imports no runtime."""
