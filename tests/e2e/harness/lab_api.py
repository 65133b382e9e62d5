"""APIs of the lab, called inside it with lasting and temporary keys, in both ways of signing.

A key is its id, its secret, and the security token or None.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import uuid
from urllib.parse import quote, urlencode

STS = ("sts.cn-hangzhou.aliyuncs.com", 80, "2015-04-01")
ECS = ("ecs.cn-hangzhou.aliyuncs.com", 80, "2014-05-26")
PVTZ = ("127.0.0.1", 5380, "2018-01-01")


def key(answer):
    """The key that STS has answered."""
    made = answer["Credentials"]
    return made["AccessKeyId"], made["AccessKeySecret"], made["SecurityToken"]


def sts(key, action, sign="v1", **params):
    return SIGNS[sign](STS, key, action, params)


def ecs(key, action, sign="v1", **params):
    return SIGNS[sign](ECS, key, action, params)


def pvtz(key, action, sign="v1", **params):
    return SIGNS[sign](PVTZ, key, action, params)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def query(params):
    return urlencode(sorted(params.items()), quote_via=quote, safe="-_.~")


def send(place, target, headers):
    link = http.client.HTTPConnection(place[0], place[1], timeout=10)
    link.request("POST", target, headers=headers)
    return json.loads(link.getresponse().read())


def v1(place, key, action, params):
    identifier, secret, token = key
    params = params | {
        "Action": action, "Version": place[2], "Format": "JSON", "AccessKeyId": identifier, "Timestamp": now(),
        "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "SignatureNonce": uuid.uuid4().hex,
    }  # fmt: skip
    if token is not None:
        params["SecurityToken"] = token
    text = f"POST&%2F&{quote(query(params), safe='-_.~')}"
    tag = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return send(place, f"/?{query(params | {'Signature': base64.b64encode(tag).decode()})}", {})


def acs3(place, key, action, params):
    identifier, secret, token = key
    digest = hashlib.sha256(b"").hexdigest()
    headers = {
        "host": place[0], "x-acs-action": action, "x-acs-version": place[2], "x-acs-date": now(),
        "x-acs-signature-nonce": uuid.uuid4().hex, "x-acs-content-sha256": digest,
    }  # fmt: skip
    if token is not None:
        headers["x-acs-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"POST\n/\n{query(params)}\n{lines}\n{names}\n{digest}"
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    tag = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = f"ACS3-HMAC-SHA256 Credential={identifier},SignedHeaders={names},Signature={tag}"
    return send(place, f"/?{query(params)}", headers)


SIGNS = {"v1": v1, "acs3": acs3}
