"""What the end-to-end tests are made of: servers to start, scripted upstreams, ways to ask.

Everything stays on loopback addresses or in network namespaces that a test makes for itself.
"""
