//! `/metrics`, `/livez` and `/readyz`: no data, no login.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};

use crate::config::NodeIds;
use crate::gateway::{Metrics, Shared, join};

#[derive(Clone)]
struct Admin {
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    node_ids: NodeIds,
    data_dir: Arc<Path>,
}

/// Serves until the process ends.
pub(crate) async fn listen(
    address: SocketAddr,
    node_ids: NodeIds,
    data_dir: PathBuf,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
) -> std::io::Result<()> {
    let socket = tokio::net::TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(Admin { metrics, shared, node_ids, data_dir: data_dir.into() });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(socket, router).await {
            tracing::error!(event = "admin.failed", error = %error);
        }
    });
    Ok(())
}

async fn scrape(State(admin): State<Admin>) -> Response {
    admin.shared.keys.observe();
    let policy = admin.shared.world.context().policy.digest();
    admin.metrics.process.look(&admin.data_dir, admin.shared.budget.held(), policy);
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.metrics.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let hidden = match &admin.shared.world.context().view {
        Some(view) => admin.node_ids.without(view.brokers.keys()),
        None => Vec::new(),
    };
    let reasons = admin.metrics.ready.reasons();
    let note = match hidden.as_slice() {
        [] => String::new(),
        ids => format!("hidden from clients, not in `upstream.node_ids`: {}\n", join(ids)),
    };
    let stuck = match admin.metrics.audit.anchor_stuck.get() {
        0 => "",
        _ => "nobody takes checkpoints from standard output: new entries are not anchored\n",
    };
    let mut note = note + stuck;
    admin.shared.keys.ageing().iter().for_each(|line| note.extend([line, "\n"]));
    if reasons.is_empty() {
        (StatusCode::OK, format!("ready\n{note}")).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n" + &note).into_response()
    }
}
