"""Encrypted listeners: how a test configures them, and where they are."""


def listener(files, *protocols):
    """The section `[server]` with listeners for `tls`, `https`, `quic`, `http3`."""
    keys = "\n".join(f'listen_{protocol} = ["127.0.0.1:0"]' for protocol in protocols)
    return f'[server]\n{keys}\ncertificate = "{files[0]}"\nkey = "{files[1]}"\n'


def port(server, protocol):
    """The port that the log tells for `TLS`, `HTTPS`, `QUIC`, `HTTP/3`."""
    return int(server.logged(rf"DNS over {protocol} is served listen=[\d.]+:(\d+)").group(1))
