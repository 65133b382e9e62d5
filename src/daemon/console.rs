//! The console of the running server.

use super::Daemon;
use crate::console::{Console, ConsoleParts, ConsoleSetting};
use std::sync::Arc;

impl Daemon {
    /// Puts the console beside the API, if it is wanted.
    pub(super) fn open_console(&self) {
        let (Some(office), Some(control)) = (&self.office, &self.config.control) else { return };
        let Some(access) = &office.console else { return };
        let setting = ConsoleSetting {
            api: control.listen.clone(),
            listen: control.listen.clone(),
            server_names: control.server_names.clone(),
            client: self.config.log.client,
            metadata: self.settings.metadata,
            lab: None,
        };
        let parts = ConsoleParts {
            access: access.clone(),
            view: self.view.clone(),
            publisher: self.publisher.clone(),
            actions: office.actions(),
            setting,
        };
        office.pages.put(Arc::new(Console::new(parts)));
    }
}
