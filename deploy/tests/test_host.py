"""What a host asks of AWS: /usr/local/sbin/pixeld-aws with the real curl, and servers that check each signature."""

import contextlib
import hashlib
import http.server
import os
import ssl
import subprocess
import tempfile
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import yaml
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

USER_DATA = (Path(__file__).parent.parent / "aws" / "user-data.yaml").read_text()
KEYS = Credentials("ASIAEXAMPLE", "se/cret+", "to/ken==")
METADATA = {
    "instance-id": "i-0123",
    "iam/security-credentials/": "role",
    "iam/security-credentials/role": '{\n  "Code" : "Success",\n  "AccessKeyId" : "ASIAEXAMPLE",\n'
    '  "SecretAccessKey" : "se/cret+",\n  "Token" : "to/ken==",\n  "Expiration" : "2030-01-01T00:00:00Z"\n}',
}
PACKAGE = b"a package"


def is_signed(request: http.server.BaseHTTPRequestHandler, body: bytes, service: str) -> bool:
    """Whether the signature is that which botocore makes of the same request."""
    fields = dict(part.split("=", 1) for part in request.headers["Authorization"].partition(" ")[2].split(", "))
    signed = fields["SignedHeaders"].split(";")
    headers = {name: request.headers[name] for name in signed}
    again = AWSRequest(request.command, f"https://{request.headers['Host']}{request.path}", headers, body)
    again.context["timestamp"] = headers["x-amz-date"]
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(KEYS, service, "us-east-1")
    text = auth.string_to_sign(again, auth.canonical_request(again))
    return (
        auth.signature(text, again) == fields["Signature"]
        and headers["x-amz-security-token"] == KEYS.token
        and headers.get("x-amz-content-sha256", hashlib.sha256(body).hexdigest()) == hashlib.sha256(body).hexdigest()
    )


class Aws(http.server.BaseHTTPRequestHandler):
    """The metadata service, S3 and CloudWatch."""

    sent: list[dict]

    def reply(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.reply(200 if self.path == "/latest/api/token" else 404, b"a token")

    def do_GET(self) -> None:
        if self.headers["Host"] == "169.254.169.254":
            value = METADATA.get(self.path.removeprefix("/latest/meta-data/"))
            return self.reply(200 if value and self.headers["X-aws-ec2-metadata-token"] == "a token" else 401, (value or "").encode())
        is_theirs = (self.headers["Host"], self.path) == ("s3.us-east-1.amazonaws.com", "/bucket/a/p_1.2~b.deb")
        return self.reply(200 if is_theirs and is_signed(self, b"", "s3") else 403, PACKAGE)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Host"] != "monitoring.us-east-1.amazonaws.com" or not is_signed(self, body, "monitoring"):
            return self.reply(403)
        self.sent.append({key: value[0] for key, value in parse_qs(body.decode(), strict_parsing=True).items()})
        return self.reply(200, b"<PutMetricDataResponse/>")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[list[dict]]:
    """Sends all that the script asks of AWS to servers of this process, and returns what CloudWatch was sent."""
    names = ["-keyout", folder / "key", "-out", folder / "certificate", "-subj", "/CN=test"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *names]
    subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "certificate", folder / "key")
    sent: list[dict] = []
    handler = type("Handler", (Aws,), {"sent": sent})
    plain, secure = (http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2))
    secure.socket = tls.wrap_socket(secure.socket, server_side=True)
    to = [f'connect-to = "::127.0.0.1:{secure.server_port}"', "insecure"]
    to.insert(0, f'connect-to = "169.254.169.254:80:127.0.0.1:{plain.server_port}"')
    (folder / ".curlrc").write_text("\n".join(to) + "\n")
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield sent
    finally:
        for server in (plain, secure):
            server.shutdown()
            server.server_close()


class Host(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.sent = self.enterContext(served(self.folder))
        self.log = self.folder / "access.log"
        files = {file["path"]: file["content"] for file in yaml.safe_load(USER_DATA)["write_files"]}
        settings = self.folder / "pixeld-deploy.conf"
        settings.write_text(files["/etc/pixeld-deploy.conf"].replace("${Region}", "us-east-1").replace("${Role}", "front"))
        script = files["/usr/local/sbin/pixeld-aws"].replace("/etc/pixeld-deploy.conf", str(settings))
        self.script = self.folder / "pixeld-aws"
        self.script.write_text(script.replace("/var/log/nginx/pixeld/access.log", str(self.log)))

    def run_script(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "RUNTIME_DIRECTORY": str(self.folder)}
        command = ["sh", self.script, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def metrics(self) -> dict[str, str]:
        """What the next call sends, by the names of the metrics."""
        done = self.run_script("metrics")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        sent = self.sent.pop()
        self.assertEqual((sent["Action"], sent["Namespace"], self.sent), ("PutMetricData", "pixeld", []))
        found = {}
        for number in (1, 2):
            member = f"MetricData.member.{number}."
            dimension = [sent[f"{member}Dimensions.member.1.{part}"] for part in ("Name", "Value")]
            self.assertEqual(dimension, ["InstanceId", "i-0123"])
            found[sent[f"{member}MetricName"]] = sent[f"{member}Value"]
        return found

    def test_an_object_is_fetched_with_the_role_of_the_host(self) -> None:
        there = self.folder / "pixeld.deb"
        done = self.run_script("get", "s3://bucket/a/p_1.2~b.deb", str(there))
        self.assertEqual((done.returncode, done.stderr, there.read_bytes()), (0, "", PACKAGE))

    def test_a_refused_object_fails(self) -> None:
        done = self.run_script("get", "s3://bucket/other.deb", str(self.folder / "other.deb"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("403", done.stderr)

    def test_5xx_responses_count_once_and_only_new_ones(self) -> None:
        line = '{"request":"POST /pixel","status":%d,"upstream_status":"502"}\n'
        self.log.write_text(line % 502)
        self.assertEqual(self.metrics()["ServerErrors"], "0", "it is not known when these were")
        with self.log.open("a") as log:
            log.writelines(line % status for status in (200, 503, 404, 500))
        metrics = self.metrics()
        self.assertEqual(metrics["ServerErrors"], "2")
        self.assertIn(int(metrics["DiskUsed"]), range(101))
        self.assertEqual(self.metrics()["ServerErrors"], "0")

    def test_5xx_responses_of_a_new_log_count(self) -> None:
        self.log.write_text("x" * 1000)
        self.metrics()
        with self.log.open("a") as log:
            log.write('\n{"status":503}\n')
        self.log.rename(self.folder / "access.log.1")
        self.log.write_text('{"status":504}\n')
        self.assertEqual(self.metrics()["ServerErrors"], "2", "renamed")
        self.log.write_text('{"status":504}\n' * 2)
        self.assertEqual(self.metrics()["ServerErrors"], "1", "continued")
        self.log.write_text('{"status":504}\n')
        self.assertEqual(self.metrics()["ServerErrors"], "1", "truncated")
