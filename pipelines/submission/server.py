"""Requests to the Kubeflow Pipelines API that outlive a bad minute of the network, and never do a thing twice.

The calls themselves are KFP's own generated client. Around them: bounded retries of what may be repeated, a look for
the object before a creation that was cut off is tried again, a token read again when it has run out, and one clear
message for every refusal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json
from pipelines.submission.access import Access
from pipelines.submission.faults import (
    CONFLICT,
    NOT_FOUND,
    UNAUTHORISED,
    CutOffError,
    RefusedError,
    problem_of,
    reason_of,
)

FIRST_DELAY_SEC = 0.5
MOST_DELAY_SEC = 15.0
REQUEST_PATIENCE_SEC = 60.0  # of a request: how long it is tried again
FIRST_PATIENCE_SEC = 15.0  # of the first one: an address that is wrong stays wrong

_TIMEOUT_SEC = (10.0, 60.0)  # to connect, and between two pieces of an answer
_MOST_ANSWER_BYTES = 64 << 20
_LOG = logging.getLogger("kineflow")


class Server:
    """One Kubeflow Pipelines API server.

    Args:
        access: Where it is, and the token.
        patience_sec: How long one request is tried again before giving up; less until the server has answered once.
        on_retry: Called with a line when a request has to be repeated.
    """

    def __init__(
        self,
        access: Access,
        *,
        patience_sec: float = REQUEST_PATIENCE_SEC,
        on_retry: Callable[[str], None] | None = None,
    ) -> None:
        import kfp_server_api

        configuration = kfp_server_api.Configuration(host=access.host)
        configuration.retries = False  # urllib3's own know nothing of what may be repeated
        if access.ca_file is not None:
            configuration.ssl_ca_cert = str(access.ca_file)
        self.access, self.patience_sec = access, patience_sec
        self._token, self._on_retry = access.token, on_retry or _LOG.warning
        self._configuration, self._answered = configuration, False
        self._use_token()
        client = kfp_server_api.ApiClient(configuration, cookie=access.token.cookie or None)
        self.health = kfp_server_api.HealthzServiceApi(client)
        self.pipelines = kfp_server_api.PipelineServiceApi(client)
        self.uploads = kfp_server_api.PipelineUploadServiceApi(client)
        self.experiments = kfp_server_api.ExperimentServiceApi(client)
        self.runs = kfp_server_api.RunServiceApi(client)
        self.schedules = kfp_server_api.RecurringRunServiceApi(client)

    def read(self, method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        """Make a request that may be repeated at will.

        Raises:
            RefusedError: The server says no.
            CutOffError: It could not be reached in ``patience_sec``.
        """
        patience = self._patience()
        while True:
            try:
                return self._call(method, arguments)
            except CutOffError as fault:
                patience.wait(fault)

    def find(self, method: Callable[..., Any], **arguments: Any) -> dict[str, Any] | None:
        """:meth:`read`, with None for what is not there."""
        try:
            return self.read(method, **arguments)
        except RefusedError as refused:
            if refused.status == NOT_FOUND:
                return None
            raise

    def create(
        self, method: Callable[..., Any], find: Callable[[], dict[str, Any] | None], **arguments: Any
    ) -> tuple[dict[str, Any], bool]:
        """Make a request that must take effect once.

        Args:
            method: Creates the object.
            find: Looks for it by what makes it unique; asked whenever it is unclear whether ``method`` did its work.
            arguments: Of ``method``.

        Returns:
            The object, and whether it took more than one request that may have created it.

        Raises:
            RefusedError: The server says no.
            CutOffError: It could not be reached in ``patience_sec``.
        """
        patience = self._patience()
        unclear = False
        while True:
            try:
                return self._call(method, arguments), unclear
            except CutOffError as fault:
                patience.wait(fault)
                unclear = True
                existing = find()
            except RefusedError as refused:
                if refused.status != CONFLICT:
                    raise
                existing = find()  # someone else was faster, or our own first try did take effect
                if existing is None:
                    raise
            if existing is not None:
                return existing, False

    def with_patience(self, seconds: float, on_retry: Callable[[str], None]) -> Server:
        """The same server, for a caller who waits longer or speaks elsewhere."""
        patient = Server(self.access, patience_sec=seconds, on_retry=on_retry)
        patient._answered = self._answered
        return patient

    def _patience(self) -> _Patience:
        most = self.patience_sec if self._answered else min(self.patience_sec, FIRST_PATIENCE_SEC)
        return _Patience(most, self._on_retry)

    def _call(self, method: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._request(method, arguments)
        except RefusedError as refused:
            if refused.status != UNAUTHORISED:
                raise
            fresh = self.access.token.read_again()
            if fresh == self._token:
                raise
            self._token = fresh
            self._use_token()
        return self._request(method, arguments)

    def _use_token(self) -> None:
        if self._token.value:
            self._configuration.api_key["authorization"] = self._token.value
            self._configuration.api_key_prefix["authorization"] = "Bearer"

    def _request(self, method: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One request, its answer as JSON; the generated models would turn half an answer into an empty object."""
        import kfp_server_api
        import urllib3

        host = self.access.host
        try:
            with method(**arguments, _preload_content=False, _request_timeout=_TIMEOUT_SEC) as response:
                self._answered = True
                content = response.read(_MOST_ANSWER_BYTES)
                kind = response.headers.get("Content-Type", "")
        except kfp_server_api.ApiException as error:
            raise problem_of(error, host, self._token) from None
        except AttributeError as error:  # over a bad certificate, KFP's client trips while it reports it
            if not isinstance(error.__context__, kfp_server_api.ApiException):
                raise
            raise problem_of(error.__context__, host, self._token) from None
        except urllib3.exceptions.HTTPError as error:
            raise CutOffError(f"no answer from the server ({reason_of(error)})", host) from None
        except UnicodeDecodeError:
            raise CutOffError("the server's error message is no text", host) from None
        if "html" in kind.lower():
            raise RefusedError(UNAUTHORISED, "a web page came back in place of the API's answer, as for a login", host)
        try:
            answer = parse_json(content or b"{}")
        except ValueError:
            raise CutOffError("the server's answer is cut off, or no JSON", host) from None
        if not isinstance(answer, dict):
            raise CutOffError("the server's answer is no JSON object", host)
        return answer


def id_in(answer: Mapping[str, Any], key: str, where: str) -> str:
    """The id of an object that a server gave.

    Raises:
        KineflowError: There is none, so that this cannot be the API.
    """
    object_id = answer.get(key)
    if not object_id:
        raise KineflowError(
            f"the server's answer has no {key}", where=where, remedy="see that --host is the API's address"
        )
    return str(object_id)


class _Patience:
    """Waits, twice as long each time, until it has lasted for some seconds.

    Args:
        seconds: How long it lasts.
        on_retry: Called with a line before each wait.
    """

    def __init__(self, seconds: float, on_retry: Callable[[str], None]) -> None:
        self._end, self._delay, self._on_retry = time.monotonic() + seconds, FIRST_DELAY_SEC, on_retry

    def wait(self, fault: CutOffError) -> None:
        """Wait before the next try; raise ``fault`` instead at the end of the patience."""
        delay = min(max(self._delay, fault.wait_sec), MOST_DELAY_SEC)
        if time.monotonic() + delay > self._end:
            raise fault
        self._on_retry(f"{fault.problem}; trying again")
        time.sleep(delay)
        self._delay *= 2
