//! Nothing that a client sends makes a series.

use std::collections::BTreeSet;

use crate::ground::{ISSUER, Weir, topic};
use crate::wire::{Bytes, Client, METADATA, PRODUCE, metadata_body, produce_body, sized};
use crate::{batch, ground};

/// More than there can be of anything that is bounded.
const SERIES_MAX: usize = 1500;

/// The names and labels of what a scrape holds.
fn series(scrape: &str) -> BTreeSet<String> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// A request under a client id, in any API and version, with a body that is not one.
fn nonsense(client: &mut Client, api: i16, version: i16, client_id: &str) {
    let body = Bytes::default().string(client_id).raw(&[0xff; 40]);
    let frame = Bytes::default().i16(api).i16(version).i32(7).string(client_id).raw(&body.0);
    client.send(&sized(&frame.0));
    client.close_own_side();
    client.until_end();
}

/// Everything that a client can choose, in words of this round.
fn hostile(weir: &Weir, round: &str) {
    for api in (-2..=95).chain([i16::MIN, i16::MAX]) {
        for version in [0, 3, 9, 99, -1] {
            nonsense(&mut weir.open(), api, version, &format!("{round}-{api}"));
        }
    }
    for number in 0..8 {
        let name = format!("{round}-{number}");
        let bodies = [
            (METADATA, 1, metadata_body(&[&name])),
            (PRODUCE, 8, produce_body(-1, &[(&name, &[(number, &batch::plain(&[&name]))])])),
            (PRODUCE, 8, produce_body(-1, &[("ruled-series", &[(0, &batch::plain(&[&name]))])])),
        ];
        for (api, version, body) in &bodies {
            weir.open().call(*api, *version, body);
        }
        let token = |group: &str| ISSUER.token(&name).groups(&[group]);
        let mut insider = weir.apps();
        assert_eq!(insider.login(&token("apps").sign().unwrap()).error, 0);
        insider.call(METADATA, 1, &metadata_body(&[&name]));
        let mut stranger = weir.apps();
        assert_eq!(stranger.login(&token(&name).sign().unwrap()).error, 0);
        stranger.call(PRODUCE, 8, &produce_body(-1, &[(&name, &[(0, &batch::plain(&["{}"]))])]));
        let bad = token("apps").claim("iss", name.as_str()).header("kid", name.as_str()).sign().unwrap();
        assert_ne!(weir.apps().login(&bad).error, 0);
        weir.apps().handshake(&name);
    }
}

#[test]
fn clients_make_no_series_whatever_they_send() {
    topic("ruled-series", 1);
    let weir = Weir::start(|yaml| yaml.section("limits", "handshakes_max: 256"));
    let fresh = series(&weir.scrape());
    hostile(&weir, "first");
    let first = series(&weir.scrape());
    // The control: the count sees a series that comes.
    assert!(first.len() > fresh.len() + 100, "{} and then {}", fresh.len(), first.len());
    hostile(&weir, "second");
    let text = weir.scrape();
    let second = series(&text);
    let new = second.difference(&first).collect::<Vec<_>>();
    assert!(new.is_empty(), "{new:?}");
    assert!(second.len() < SERIES_MAX, "{} series", second.len());
    for word in ["first-", "second-"] {
        assert!(!text.contains(word), "{text}");
    }
    assert!(ground::WEIR.scrape().len() > 1000);
    weir.lives();
}
