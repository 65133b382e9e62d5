"""A client beside the lab that knows nothing of it: names lead to the lab, and its certificate is trusted."""

import socket
import urllib.error
import urllib.request

for name in ("ecs.cn-hangzhou.aliyuncs.com", "pvtz.aliyuncs.com"):
    address = socket.gethostbyname(name)
    try:
        urllib.request.urlopen(f"https://{name}/", timeout=10)
    except urllib.error.HTTPError as refusal:  # a request without a signature
        print(name, address, refusal.code)
