"""The one call of the standardwebhooks package that the README uses, for machines that cannot install it.

Same module, class, signature and format; that the format is right is shown by the edge, which checks it.
"""

import base64
import hashlib
import hmac


class Webhook:
    def __init__(self, secret):
        self._key = base64.b64decode(secret.removeprefix("whsec_"))

    def sign(self, msg_id, timestamp, data):
        content = f"{msg_id}.{int(timestamp.timestamp())}.{data}".encode()
        return "v1," + base64.b64encode(hmac.new(self._key, content, hashlib.sha256).digest()).decode()
