"""The private zone that a test has which needs any: one name, one address."""

ZONE = """
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "A"
value = "10.0.0.1"
"""
