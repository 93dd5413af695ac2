//! The terminal: takes it over for the [`view`](super::view), turns keys into requests, and gives it back.

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::control::Request;
use super::snapshot::Snapshot;
use super::view::{self, Desk};

/// Keys that wait for the main loop.
const KEY_QUEUE: usize = 64;
/// What the key `l` loses.
const LOSS_PERCENT: u8 = 90;
/// What a drain by key may take.
const DRAIN_DEADLINE_MS: u64 = 60_000;

/// The terminal, ours until dropped.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    pub(crate) desk: Desk,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Wish {
    Quit,
    Request(Request),
    /// Draw anew: something of the desk has changed, or the window.
    Draw,
}

impl Screen {
    /// Takes the terminal over. The receiver yields what happens at it.
    pub(crate) fn open() -> anyhow::Result<(Screen, mpsc::Receiver<Event>)> {
        let terminal = ratatui::try_init()?;
        let (keys, pressed) = mpsc::channel(KEY_QUEUE);
        // Reading blocks; the thread ends with the process.
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if keys.blocking_send(event).is_err() {
                    break;
                }
            }
        });
        Ok((Screen { terminal, desk: Desk::default() }, pressed))
    }

    pub(crate) fn draw(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, snapshot, &self.desk))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What an event at the terminal means. `hosts`: names in the order of the screen, masters first.
pub(crate) fn wish(desk: &mut Desk, event: &Event, hosts: &[String]) -> Option<Wish> {
    let key = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Resize(..) => return Some(Wish::Draw),
        _ => return None,
    };
    let chosen = hosts.get(desk.chosen).cloned().unwrap_or_default();
    let request = match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Wish::Quit),
        KeyCode::Char('q') => return Some(Wish::Quit),
        KeyCode::Up | KeyCode::Down => {
            let step = if key.code == KeyCode::Down { 1 } else { hosts.len().saturating_sub(1) };
            desk.chosen = (desk.chosen + step) % hosts.len().max(1);
            return Some(Wish::Draw);
        }
        KeyCode::Char('k') => Request::Kill { target: chosen },
        KeyCode::Char('s') => Request::Stop { target: chosen },
        KeyCode::Char('c') => Request::Cont { target: chosen },
        KeyCode::Char('r') => Request::Restart { target: chosen },
        KeyCode::Char('p') => Request::Partition { host: chosen, from: Vec::new() },
        KeyCode::Char('l') => Request::Loss { host: chosen, percent: LOSS_PERCENT },
        KeyCode::Char('h') => Request::Heal { host: chosen },
        KeyCode::Char('d') => Request::Drain { node: chosen, deadline_ms: DRAIN_DEADLINE_MS },
        KeyCode::Char('a') => Request::AddMedia,
        _ => return None,
    };
    Some(Wish::Request(request))
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys_act_on_the_chosen_host() {
        let hosts = ["m1", "a"].map(str::to_owned);
        let mut desk = Desk::default();
        let mut press =
            |code, modifiers| wish(&mut desk, &Event::Key(KeyEvent::new(code, modifiers)), &hosts);
        assert_eq!(press(KeyCode::Up, KeyModifiers::NONE), Some(Wish::Draw));
        let killed = press(KeyCode::Char('k'), KeyModifiers::NONE);
        assert_eq!(killed, Some(Wish::Request(Request::Kill { target: "a".into() })));
        assert_eq!(press(KeyCode::Down, KeyModifiers::NONE), Some(Wish::Draw));
        let drained = press(KeyCode::Char('c'), KeyModifiers::NONE);
        assert_eq!(drained, Some(Wish::Request(Request::Cont { target: "m1".into() })));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
        assert_eq!(press(KeyCode::Char('z'), KeyModifiers::NONE), None);
    }
}
