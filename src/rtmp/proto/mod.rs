//! RTMP without IO: bytes in, results out.
