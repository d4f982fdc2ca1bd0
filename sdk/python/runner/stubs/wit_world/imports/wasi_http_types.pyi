# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from typing import Union, Optional, Tuple, List, Self
from types import TracebackType
from dataclasses import dataclass
from componentize_py_types import Result
from wit_world.imports import streams

@dataclass
class Method_Get:
    ...

@dataclass
class Method_Head:
    ...

@dataclass
class Method_Post:
    ...

@dataclass
class Method_Put:
    ...

@dataclass
class Method_Delete:
    ...

@dataclass
class Method_Connect:
    ...

@dataclass
class Method_Options:
    ...

@dataclass
class Method_Trace:
    ...

@dataclass
class Method_Patch:
    ...

@dataclass
class Method_Other:
    value: str
Method = Union[Method_Get, Method_Head, Method_Post, Method_Put, Method_Delete, Method_Connect, Method_Options, Method_Trace, Method_Patch, Method_Other]

@dataclass
class Scheme_Http:
    ...

@dataclass
class Scheme_Https:
    ...

@dataclass
class Scheme_Other:
    value: str
Scheme = Union[Scheme_Http, Scheme_Https, Scheme_Other]

@dataclass
class DnsErrorPayload:
    rcode: Optional[str]
    info_code: Optional[int]

@dataclass
class TlsAlertReceivedPayload:
    alert_id: Optional[int]
    alert_message: Optional[str]

@dataclass
class FieldSizePayload:
    field_name: Optional[str]
    field_size: Optional[int]

@dataclass
class ErrorCode_DnsTimeout:
    ...

@dataclass
class ErrorCode_DnsError:
    value: DnsErrorPayload

@dataclass
class ErrorCode_DestinationNotFound:
    ...

@dataclass
class ErrorCode_DestinationUnavailable:
    ...

@dataclass
class ErrorCode_DestinationIpProhibited:
    ...

@dataclass
class ErrorCode_DestinationIpUnroutable:
    ...

@dataclass
class ErrorCode_ConnectionRefused:
    ...

@dataclass
class ErrorCode_ConnectionTerminated:
    ...

@dataclass
class ErrorCode_ConnectionTimeout:
    ...

@dataclass
class ErrorCode_ConnectionReadTimeout:
    ...

@dataclass
class ErrorCode_ConnectionWriteTimeout:
    ...

@dataclass
class ErrorCode_ConnectionLimitReached:
    ...

@dataclass
class ErrorCode_TlsProtocolError:
    ...

@dataclass
class ErrorCode_TlsCertificateError:
    ...

@dataclass
class ErrorCode_TlsAlertReceived:
    value: TlsAlertReceivedPayload

@dataclass
class ErrorCode_HttpRequestDenied:
    ...

@dataclass
class ErrorCode_HttpRequestLengthRequired:
    ...

@dataclass
class ErrorCode_HttpRequestBodySize:
    value: Optional[int]

@dataclass
class ErrorCode_HttpRequestMethodInvalid:
    ...

@dataclass
class ErrorCode_HttpRequestUriInvalid:
    ...

@dataclass
class ErrorCode_HttpRequestUriTooLong:
    ...

@dataclass
class ErrorCode_HttpRequestHeaderSectionSize:
    value: Optional[int]

@dataclass
class ErrorCode_HttpRequestHeaderSize:
    value: Optional[FieldSizePayload]

@dataclass
class ErrorCode_HttpRequestTrailerSectionSize:
    value: Optional[int]

@dataclass
class ErrorCode_HttpRequestTrailerSize:
    value: FieldSizePayload

@dataclass
class ErrorCode_HttpResponseIncomplete:
    ...

@dataclass
class ErrorCode_HttpResponseHeaderSectionSize:
    value: Optional[int]

@dataclass
class ErrorCode_HttpResponseHeaderSize:
    value: FieldSizePayload

@dataclass
class ErrorCode_HttpResponseBodySize:
    value: Optional[int]

@dataclass
class ErrorCode_HttpResponseTrailerSectionSize:
    value: Optional[int]

@dataclass
class ErrorCode_HttpResponseTrailerSize:
    value: FieldSizePayload

@dataclass
class ErrorCode_HttpResponseTransferCoding:
    value: Optional[str]

@dataclass
class ErrorCode_HttpResponseContentCoding:
    value: Optional[str]

@dataclass
class ErrorCode_HttpResponseTimeout:
    ...

@dataclass
class ErrorCode_HttpUpgradeFailed:
    ...

@dataclass
class ErrorCode_HttpProtocolError:
    ...

@dataclass
class ErrorCode_LoopDetected:
    ...

@dataclass
class ErrorCode_ConfigurationError:
    ...

@dataclass
class ErrorCode_InternalError:
    value: Optional[str]
ErrorCode = Union[ErrorCode_DnsTimeout, ErrorCode_DnsError, ErrorCode_DestinationNotFound, ErrorCode_DestinationUnavailable, ErrorCode_DestinationIpProhibited, ErrorCode_DestinationIpUnroutable, ErrorCode_ConnectionRefused, ErrorCode_ConnectionTerminated, ErrorCode_ConnectionTimeout, ErrorCode_ConnectionReadTimeout, ErrorCode_ConnectionWriteTimeout, ErrorCode_ConnectionLimitReached, ErrorCode_TlsProtocolError, ErrorCode_TlsCertificateError, ErrorCode_TlsAlertReceived, ErrorCode_HttpRequestDenied, ErrorCode_HttpRequestLengthRequired, ErrorCode_HttpRequestBodySize, ErrorCode_HttpRequestMethodInvalid, ErrorCode_HttpRequestUriInvalid, ErrorCode_HttpRequestUriTooLong, ErrorCode_HttpRequestHeaderSectionSize, ErrorCode_HttpRequestHeaderSize, ErrorCode_HttpRequestTrailerSectionSize, ErrorCode_HttpRequestTrailerSize, ErrorCode_HttpResponseIncomplete, ErrorCode_HttpResponseHeaderSectionSize, ErrorCode_HttpResponseHeaderSize, ErrorCode_HttpResponseBodySize, ErrorCode_HttpResponseTrailerSectionSize, ErrorCode_HttpResponseTrailerSize, ErrorCode_HttpResponseTransferCoding, ErrorCode_HttpResponseContentCoding, ErrorCode_HttpResponseTimeout, ErrorCode_HttpUpgradeFailed, ErrorCode_HttpProtocolError, ErrorCode_LoopDetected, ErrorCode_ConfigurationError, ErrorCode_InternalError]

@dataclass
class HeaderError_InvalidSyntax:
    ...

@dataclass
class HeaderError_Forbidden:
    ...

@dataclass
class HeaderError_Immutable:
    ...
HeaderError = Union[HeaderError_InvalidSyntax, HeaderError_Forbidden, HeaderError_Immutable]

class Fields:

    def __init__(self) -> None:
        ...

    @classmethod
    def from_list(cls, entries: List[Tuple[str, bytes]]) -> Self:
        ...

    def entries(self) -> List[Tuple[str, bytes]]:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

class IncomingBody:

    def stream(self) -> streams.InputStream:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

class IncomingRequest:

    def method(self) -> Method:
        ...

    def path_with_query(self) -> Optional[str]:
        ...

    def scheme(self) -> Optional[Scheme]:
        ...

    def authority(self) -> Optional[str]:
        ...

    def headers(self) -> Fields:
        ...

    def consume(self) -> IncomingBody:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

class OutgoingBody:

    def write(self) -> streams.OutputStream:
        ...

    @classmethod
    def finish(cls, this: Self, trailers: Optional[Fields]) -> None:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

class OutgoingResponse:

    def __init__(self, headers: Fields) -> None:
        ...

    def set_status_code(self, status_code: int) -> None:
        ...

    def body(self) -> OutgoingBody:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

class ResponseOutparam:

    @classmethod
    def set(cls, param: Self, response: Result[OutgoingResponse, ErrorCode]) -> None:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...
