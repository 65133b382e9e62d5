"""Requests that the CLI and Terraform sent (`requests.jsonl`), signed anew: the same status, code and members, in both
ways of signing.

An id of the recorded run stands for the one that was made last by the action that makes such ids.
"""

import json
from pathlib import Path

import pytest
from harness import api as signing
from harness.api import Api

REQUESTS = [json.loads(line) for line in (Path(__file__).parent / "requests.jsonl").read_text().splitlines()]
SIGNATURE = {"AccessKeyId", "Signature", "SignatureNonce", "Timestamp", "SignatureMethod", "SignatureVersion",
             "SignatureType", "Format", "Action", "Version"}
IDS = {"ZoneId": "ZoneId", "RecordId": "RecordId", "LineId": "LineId", "EndpointId": "EndpointId", "RuleId": "RuleId",
       "ResourceId": "ZoneId", "ResourceId.1": "ZoneId"}


class Replay(Api):
    def __init__(self, said):
        host, port = said["api"].removeprefix("http://").rsplit(":", 1)
        super().__init__((host, int(port)), said["access_key_id"], said["access_key_secret"])
        self.good, self.made, self.meant = (self.key, self.secret), {}, {}

    def again(self, request, v3):
        self.key, self.secret = self.good
        if request["code"] == "InvalidAccessKeyId.NotFound":
            self.key = "LTAI-nobody"
        if request["code"] == "SignatureDoesNotMatch":
            self.secret = "wrong"
        params = {k: v for k, v in request["query"] + request["body"] if k not in SIGNATURE}
        for name, kind in IDS.items():
            if name in params and request["code"] not in ("Record.NotExists",):
                params[name] = self.id(kind, params[name])
        if v3:
            target, headers, body = signing.acs3(self, request["action"], params)
            status, reply = self.send("POST", target, headers, body)
        else:
            place = "mixed" if request["body"] else "query"
            status, reply = self.send(*signing.v1(self, request["action"], params, request["method"], place))
        if status == 200 and request["action"].startswith("Add"):
            self.made.update({kind: str(reply[kind]) for kind in IDS.values() if kind in reply})
        return status, reply.get("Code"), sorted(reply)

    def id(self, kind, recorded):
        if recorded not in self.meant and kind in self.made:
            self.meant[recorded] = self.made[kind]
        return self.meant.get(recorded, recorded)


@pytest.mark.parametrize("client", ["aliyun-cli", "terraform"])
@pytest.mark.parametrize("v3", [False, True], ids=["v1", "v3"])
def test_recorded_requests_get_the_same_again(lab, client, v3, row):
    sent = [request for request in REQUESTS if request["client"] == client]
    row(f"{client}, its requests", "2026-07", f"{len(sent)} recorded requests, signed by {'ACS3-HMAC-SHA256' if v3 else 'HMAC-SHA1'}",
        f"重放 {len(sent)} 个记录的请求，以 {'ACS3-HMAC-SHA256' if v3 else 'HMAC-SHA1'} 签名")
    replay, differences = Replay(lab()), []
    for number, request in enumerate(sent):
        expected = (request["status"], request["code"], sorted(request["answer_keys"]))
        got = replay.again(request, v3)
        if got != expected:
            differences.append((number, request["action"], expected, got))
    assert not differences, "\n".join(map(str, differences))
