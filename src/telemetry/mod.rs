//! Logs, metrics and the HTTP endpoints that both operator and agent serve.
