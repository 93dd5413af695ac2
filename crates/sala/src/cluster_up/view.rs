//! The screen: masters, media nodes, rooms, what happened, and which keys do what. It draws a [`Snapshot`] and
//! nothing else, so what it shows can be tested.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Padding, Paragraph, Row, Table};

use super::journal::clock;
use super::snapshot::{EtcdRole, EventKind, MasterLine, MediaLine, ProcessLine, ProcessState, Snapshot};

const GOOD: Color = Color::Green;
const WARN: Color = Color::Yellow;
const BAD: Color = Color::Red;
const QUIET: Color = Color::DarkGray;
const ACCENT: Color = Color::Cyan;

/// Cells of a load bar.
const BAR_CELLS: usize = 10;
/// Below this width the rooms are left out.
const WIDE: u16 = 100;

/// What the keys do, by key.
const KEYS: [(&str, &str); 11] = [
    ("↑↓", "choose"),
    ("k", "kill"),
    ("s", "stop"),
    ("c", "cont"),
    ("r", "restart"),
    ("p", "partition"),
    ("l", "loss 90 %"),
    ("h", "heal"),
    ("d", "drain"),
    ("a", "add media"),
    ("q", "quit"),
];

/// What the operator does at the screen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Desk {
    /// The chosen host, counted through masters and media nodes.
    pub(crate) chosen: usize,
    /// Answer to the last key.
    pub(crate) message: String,
}

/// Draws all.
pub(crate) fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, desk: &Desk) {
    // Borders and heading.
    const AROUND: u16 = 3;
    let masters = snapshot.masters.len() as u16 + AROUND;
    let media = snapshot.media.len() as u16 + AROUND;
    let [head, top, middle, events, message, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(masters),
        Constraint::Length(media),
        Constraint::Min(4),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, snapshot);
    draw_masters(frame, top, snapshot, desk);
    draw_media(frame, middle, snapshot, desk);
    if frame.area().width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(34)]).areas(events);
        draw_events(frame, left, snapshot);
        draw_rooms(frame, right, snapshot);
    } else {
        draw_events(frame, events, snapshot);
    }
    frame.render_widget(Line::from(format!(" {}", desk.message)).fg(WARN), message);
    let hints = KEYS.iter().flat_map(|(key, what)| {
        [Span::from(format!(" {key} ")).bold().fg(ACCENT), Span::from(format!("{what} ")).fg(QUIET)]
    });
    frame.render_widget(Line::from_iter(hints), keys);
}

fn panel(title: String) -> Block<'static> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(QUIET))
        .padding(Padding::horizontal(1))
        .title(Line::from(format!(" {title} ")).bold())
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let up = format!("{:02}:{:02}:{:02}", snapshot.up_s / 3600, snapshot.up_s / 60 % 60, snapshot.up_s % 60);
    let clients: u32 = snapshot.media.iter().map(|node| node.clients).sum();
    let left = Line::from_iter([
        Span::from(" Sala ").bold().black().bg(ACCENT),
        Span::from(format!(" cluster {}  ", snapshot.cluster)).bold(),
        Span::from(format!("up {up}   ")).fg(QUIET),
        Span::from(count(snapshot.rooms_total, "room")).bold(),
        Span::from(format!(
            " · {} · {}   ",
            count(clients as usize, "client"),
            count(snapshot.connections, "connection")
        )),
        store(snapshot),
    ]);
    frame.render_widget(left, area);
    // Coloured as a span: a line's style would colour the whole row.
    let url = Span::from(format!("{} ", snapshot.url)).fg(ACCENT);
    frame.render_widget(Line::from(url).right_aligned(), area);
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn store(snapshot: &Snapshot) -> Span<'static> {
    match (&snapshot.store_leader, snapshot.store_quorum) {
        (Some(leader), Some(true) | None) => Span::from(format!("store ● leader {leader}")).fg(GOOD),
        (Some(leader), Some(false)) => Span::from(format!("store ◐ leader {leader}, masters wait")).fg(WARN),
        (None, _) => Span::from("store ✖ no quorum").fg(BAD),
    }
}

fn draw_masters(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, desk: &Desk) {
    let heading = ["", "", "master", "address", "sala", "  cpu", "balancer", "conns", "etcd", "  cpu", ""];
    let rows = snapshot.masters.iter().enumerate().map(|(n, master)| {
        let etcd = match (master.etcd.state, master.etcd_role) {
            (ProcessState::Running, EtcdRole::Leader) => Span::from("★ leader").fg(ACCENT).bold(),
            (ProcessState::Running, EtcdRole::Follower) => Span::from("follower").fg(GOOD),
            (ProcessState::Running, EtcdRole::NoLeader) => Span::from("no leader").fg(WARN),
            (ProcessState::Running, EtcdRole::Silent) => Span::from("silent").fg(WARN),
            _ => process(&master.etcd),
        };
        let balanced = if master.balanced { Span::from("in").fg(GOOD) } else { Span::from("out").fg(BAD) };
        let cells = vec![
            Cell::from(lamp(&master.sala, "")),
            Cell::from(Span::from(master.name.clone()).bold()),
            Cell::from(master.address.clone()),
            Cell::from(process(&master.sala)),
            Cell::from(percent(&master.sala)),
            Cell::from(balanced),
            Cell::from(right(master.connections, 5)),
            Cell::from(etcd),
            Cell::from(percent(&master.etcd)),
            Cell::from(fault(master.fault.as_deref())),
        ];
        row(cells, n == desk.chosen)
    });
    let widths = [1, 1, 7, 14, 14, 5, 8, 5, 13, 5, 12].map(Constraint::Length);
    let alive = snapshot.masters.iter().filter(|master| is_well(master)).count();
    let title = format!("Masters  {alive}/{}", snapshot.masters.len());
    let table = Table::new(rows, widths).header(Row::new(heading).fg(QUIET)).block(panel(title));
    frame.render_widget(table, area);
}

fn is_well(master: &MasterLine) -> bool {
    master.sala.state == ProcessState::Running && master.fault.is_none()
}

fn draw_media(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, desk: &Desk) {
    let heading =
        ["", "", "media", "address", "state", "cpu", "rooms", "clients", "   in", "  out", "packets/s", ""];
    let rows = snapshot.media.iter().enumerate().map(|(n, node)| {
        let cells = vec![
            Cell::from(lamp(&node.sala, &node.state)),
            Cell::from(Span::from(node.name.clone()).bold()),
            Cell::from(node.address.clone()),
            Cell::from(media_state(node)),
            Cell::from(bar(node.sala.cpu_percent)),
            Cell::from(right(node.rooms as usize, 5)),
            Cell::from(right(node.clients as usize, 7)),
            Cell::from(right(node.tracks_in as usize, 5)),
            Cell::from(right(node.tracks_out as usize, 5)),
            Cell::from(right(node.packets_per_s as usize, 9)),
            Cell::from(fault(node.fault.as_deref())),
        ];
        row(cells, snapshot.masters.len() + n == desk.chosen)
    });
    let widths = [1, 1, 7, 14, 14, BAR_CELLS as u16 + 6, 5, 7, 5, 5, 9, 12].map(Constraint::Length);
    let alive = snapshot.media.iter().filter(|node| node.sala.state == ProcessState::Running).count();
    let title = format!("Media nodes  {alive}/{}", snapshot.media.len());
    let table = Table::new(rows, widths).header(Row::new(heading).fg(QUIET)).block(panel(title));
    frame.render_widget(table, area);
}

/// The chosen row is marked, not coloured: that reads well on dark and light terminals.
fn row(cells: Vec<Cell<'static>>, chosen: bool) -> Row<'static> {
    let mark = Cell::from(Span::from(if chosen { "▸" } else { " " }).fg(ACCENT).bold());
    let row = Row::new([mark].into_iter().chain(cells));
    if chosen { row.style(Style::new().add_modifier(Modifier::BOLD)) } else { row }
}

fn lamp(process: &ProcessLine, state: &str) -> Span<'static> {
    match (process.state, state) {
        (ProcessState::Running, "dead") => Span::from("✖").fg(BAD),
        (ProcessState::Running, "suspect" | "draining") => Span::from("◐").fg(WARN),
        (ProcessState::Running, _) => Span::from("●").fg(GOOD),
        (ProcessState::Stopped, _) => Span::from("◌").fg(WARN),
        (ProcessState::Ended, _) => Span::from("✖").fg(BAD),
        (ProcessState::Absent, _) => Span::from("·").fg(QUIET),
    }
}

fn process(process: &ProcessLine) -> Span<'static> {
    match process.state {
        ProcessState::Running => Span::from("running").fg(GOOD),
        ProcessState::Stopped => Span::from("stopped").fg(WARN),
        ProcessState::Ended => Span::from(process.end.clone().unwrap_or_else(|| "ended".into())).fg(BAD),
        ProcessState::Absent => Span::from("—").fg(QUIET),
    }
}

fn media_state(node: &MediaLine) -> Span<'static> {
    match (node.sala.state, node.state.as_str(), node.drain) {
        (ProcessState::Running, "draining", Some((moved, left))) => {
            Span::from(format!("drain {moved}/{}", moved + left)).fg(WARN)
        }
        (ProcessState::Running, state @ ("draining" | "suspect"), _) => Span::from(state.to_owned()).fg(WARN),
        (ProcessState::Running, "dead", _) => Span::from("fenced").fg(BAD),
        (ProcessState::Running, "serving", _) => Span::from("serving").fg(GOOD),
        _ => process(&node.sala),
    }
}

fn fault(fault: Option<&str>) -> Span<'static> {
    fault.map_or(Span::default(), |fault| Span::from(format!("⚡ {fault}")).fg(BAD))
}

fn percent(process: &ProcessLine) -> Span<'static> {
    Span::from(format!("{:>3.0} %", process.cpu_percent)).fg(heat(process.cpu_percent))
}

/// One core is a full bar; the number goes on.
fn bar(percent: f32) -> Line<'static> {
    let full = ((percent / 100.0 * BAR_CELLS as f32).round() as usize).min(BAR_CELLS);
    Line::from_iter([
        Span::from("█".repeat(full)).fg(heat(percent)),
        Span::from("░".repeat(BAR_CELLS - full)).fg(QUIET),
        Span::from(format!(" {percent:>3.0} %")),
    ])
}

fn heat(percent: f32) -> Color {
    match percent {
        ..50.0 => GOOD,
        ..85.0 => WARN,
        _ => BAD,
    }
}

fn right(n: usize, width: usize) -> String {
    format!("{n:>width$}")
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let block = panel("What happened".into());
    let height = block.inner(area).height as usize;
    let skip = snapshot.events.len().saturating_sub(height);
    let lines = snapshot.events.iter().skip(skip).map(|event| {
        let colour = match event.kind {
            EventKind::Command => Color::Reset,
            EventKind::Fault => BAD,
            EventKind::Cluster => ACCENT,
        };
        Line::from_iter([
            Span::from(format!("{}  ", clock(event.at_ms))).fg(QUIET),
            Span::from(event.text.clone()).fg(colour),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn draw_rooms(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let rows = snapshot
        .rooms
        .iter()
        .map(|room| Row::new([room.room.clone(), room.node.clone(), format!("epoch {}", room.epoch)]));
    let widths = [Constraint::Fill(1), Constraint::Length(3), Constraint::Length(11)];
    let table = Table::new(rows, widths).block(panel(format!("Rooms  {}", snapshot.rooms_total)));
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cluster_up::snapshot::EventLine;
    use cluster::status::RoomStatus;

    fn running() -> ProcessLine {
        ProcessLine { state: ProcessState::Running, pid: 1, cpu_percent: 42.0, end: None }
    }

    fn snapshot() -> Snapshot {
        let master = |n: usize| MasterLine {
            name: format!("m{n}"),
            address: format!("127.7.0.1{n}"),
            sala: running(),
            etcd: running(),
            etcd_role: if n == 2 { EtcdRole::Leader } else { EtcdRole::Follower },
            balanced: true,
            connections: n,
            fault: None,
        };
        let media = |name: &str, state: &str| MediaLine {
            name: name.into(),
            address: "127.7.0.31".into(),
            sala: running(),
            state: state.into(),
            rooms: 3,
            clients: 12,
            tracks_in: 24,
            tracks_out: 72,
            packets_per_s: 12_345,
            drain: (state == "draining").then_some((2, 3)),
            fault: None,
        };
        Snapshot {
            cluster: "demo".into(),
            up_s: 3661,
            url: "http://127.0.0.1:7880".into(),
            masters: (1..=4).map(master).collect(),
            media: vec![media("a", "serving"), media("b", "draining")],
            store_leader: Some("m2".into()),
            store_quorum: Some(true),
            rooms_total: 1,
            rooms: vec![RoomStatus { room: "standup".into(), node: "a".into(), epoch: "4".into() }],
            events: vec![EventLine { at_ms: 0, kind: EventKind::Fault, text: "b.sala killed".into() }],
            ..Snapshot::default()
        }
    }

    fn screen(snapshot: &Snapshot, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, snapshot, &Desk::default())).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_says_who_leads_who_drains_and_what_happened() {
        let screen = screen(&snapshot(), 120, 30);
        for said in [
            "cluster demo",
            "up 01:01:01",
            "24 clients",
            "★ leader",
            "drain 2/5",
            "b.sala killed",
            "epoch 4",
            "http://127.0.0.1:7880",
            "████░░░░░░  42 %",
            "12345",
            "Masters  4/4",
            "q ",
            "quit",
        ] {
            assert!(screen.contains(said), "{said} is missing in\n{screen}");
        }
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        assert!(screen(&snapshot(), 60, 12).contains("Masters"));
        screen(&snapshot(), 1, 1);
    }
}
