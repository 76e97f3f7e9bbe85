"""What AWS's own library makes of a presigned POST: the oracle of tests/it/uploads.rs.

Reads {access_key, secret_key, session_token, region, bucket, key, content_type, max_bytes, seconds, now, policy} as JSON, and
prints {fields, policy_signature}: the form that boto3 signs at that moment for the same wish, and its signature of `policy`.
"""

import datetime
import json
import sys
from unittest import mock

import boto3
from botocore.auth import S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

wish = json.load(sys.stdin)
now = datetime.datetime.strptime(wish["now"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)

s3 = boto3.client(
    "s3",
    region_name=wish["region"],
    aws_access_key_id=wish["access_key"],
    aws_secret_access_key=wish["secret_key"],
    aws_session_token=wish["session_token"],
    config=Config(signature_version="s3v4"),
)
with (
    mock.patch("botocore.auth.get_current_datetime", return_value=now),
    mock.patch("botocore.signers.get_current_datetime", return_value=now),
):
    form = s3.generate_presigned_post(
        wish["bucket"],
        wish["key"],
        Fields={"Content-Type": wish["content_type"]},
        Conditions=[{"Content-Type": wish["content_type"]}, ["content-length-range", 1, wish["max_bytes"]]],
        ExpiresIn=wish["seconds"],
    )

credentials = Credentials(wish["access_key"], wish["secret_key"], wish["session_token"])
request = AWSRequest()
request.context["timestamp"] = wish["now"]
signature = S3SigV4PostAuth(credentials, "s3", wish["region"]).signature(wish["policy"], request)
print(json.dumps({"fields": form["fields"], "policy_signature": signature}))
