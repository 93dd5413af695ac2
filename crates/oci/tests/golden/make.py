#!/usr/bin/env python3
"""Writes signatures.json: request signatures made by Oracle's own Python SDK.

Run: python3 -m venv v && v/bin/pip install oci && v/bin/python make.py
The key beside this file is made once, for this test only; no tenancy knows it.
"""
import json
import pathlib
import subprocess

import oci
from oci._vendor import requests

HERE = pathlib.Path(__file__).parent
KEY = HERE / "test-key.pem"
if not KEY.exists():
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(KEY)],
        check=True,
        stderr=subprocess.DEVNULL,
    )

TENANCY, USER, FINGERPRINT = "ocid1.tenancy.oc1..t", "ocid1.user.oc1..u", "aa:bb:cc"
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"
signer = oci.signer.Signer(TENANCY, USER, FINGERPRINT, str(KEY))
BASE = "https://iaas.eu-frankfurt-1.oraclecloud.com/20160918/"

CASES = [
    ("get with a query", "GET", BASE + "instances?compartmentId=ocid1.c&limit=2", None, "application/json"),
    ("head", "HEAD", "https://objectstorage.eu-frankfurt-1.oraclecloud.com/n/ns/b/bu/o/a%2Fb%20c", None, "application/json"),
    ("delete", "DELETE", BASE + "instances/ocid1.i?preserveBootVolume=false", None, "application/json"),
    ("post json", "POST", BASE + "instancePools/p/actions/detachInstance", '{"instanceId":"i"}', "application/json"),
    ("post without a body", "POST", BASE + "instances/i?action=STOP", "", "application/json"),
    ("put bytes", "PUT", "https://objectstorage.eu-frankfurt-1.oraclecloud.com/n/ns/b/bu/o/k", "grüße", "application/octet-stream"),
    ("port in host", "GET", "http://127.0.0.1:8080/x", None, "application/json"),
]

out = []
for name, method, url, body, content_type in CASES:
    raw = None if body is None else body.encode()
    request = requests.Request(method, url, data=raw, headers={"date": DATE, "content-type": content_type}).prepare()
    if raw is not None:
        request.headers["content-length"] = str(len(raw))
    signer(request)
    out.append({
        "name": name, "method": method, "url": url, "body": body, "content_type": content_type,
        "sha256": request.headers.get("x-content-sha256"), "authorization": request.headers["authorization"],
    })

# As an instance asks for a session: the host is not signed, and the key is named by the certificate's fingerprint.
federation_id = f"{TENANCY}/fed-x509-sha256/" + ":".join(["ab"] * 32)
federation = oci.signer.AbstractBaseSigner()
federation.create_signers(
    federation_id, signer.private_key, ["date", "(request-target)"], ["content-length", "content-type", "x-content-sha256"]
)
body = b'{"certificate":"MII"}'
request = requests.Request(
    "POST", "https://auth.eu-frankfurt-1.oraclecloud.com/v1/x509", data=body,
    headers={"date": DATE, "content-type": "application/json", "content-length": str(len(body))},
).prepare()
federation(request)
federation = {
    "key_id": federation_id, "body": body.decode(), "sha256": request.headers["x-content-sha256"],
    "authorization": request.headers["authorization"],
}

result = {"federation": federation, "sdk": oci.__version__, "key_id": f"{TENANCY}/{USER}/{FINGERPRINT}", "date": DATE, "cases": out}
(HERE / "signatures.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
