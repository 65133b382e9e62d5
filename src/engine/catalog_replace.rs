//! What a catalog takes over of a file that was read again: one zone, or the names of one hosts file. All else is shared
//! with the catalog before.

use super::{Catalog, Scope, View};
use crate::engine::hosts::Hosts;
use crate::engine::zone::Zone;
use std::sync::Arc;

impl Catalog {
    /// All hosts files with who sees them, the first one first.
    pub fn hosts(&self) -> &[(Arc<Hosts>, Scope)] {
        &self.hosts
    }

    /// Replaces a configured zone, by its place in [`Catalog::zones`], with another of its name; false where there is
    /// none.
    pub fn replace_zone(&mut self, place: usize, zone: Arc<Zone>) -> bool {
        let Some((former, scope)) = self.zones.get(place).cloned() else { return false };
        if former.apex() != zone.apex() {
            return false;
        }
        match scope {
            Scope::Everyone => {
                let mut shared = self.outside.shared.clone();
                Arc::make_mut(&mut shared).place(zone.clone());
                self.each_view(|view| view.shared = shared.clone());
            }
            Scope::Vpcs(ids) => {
                for vpc in ids.iter().filter_map(|id| self.places.get(id).copied()) {
                    let mut own = self.views[vpc].own.clone();
                    Arc::make_mut(&mut own).place(zone.clone());
                    self.views[vpc].own = own.clone();
                    self.lined.iter_mut().filter(|((at, _), _)| *at == vpc).for_each(|(_, view)| {
                        view.own = own.clone();
                    });
                }
            }
        }
        Arc::make_mut(&mut self.zones)[place].0 = zone;
        true
    }

    /// Replaces the names of a hosts file, by its place in [`Catalog::hosts`]; false where there is none.
    pub fn replace_hosts(&mut self, place: usize, hosts: Arc<Hosts>) -> bool {
        if place >= self.hosts.len() {
            return false;
        }
        let mut all = self.hosts.clone();
        Arc::make_mut(&mut all)[place].0 = hosts;
        self.set_hosts(all);
        true
    }

    /// Sets the hosts files, for each client those that it sees.
    pub(super) fn set_hosts(&mut self, all: Arc<[(Arc<Hosts>, Scope)]>) {
        if !all.is_empty() || !self.hosts.is_empty() {
            self.each_view(|view| {
                let vpc = view.vpc.as_ref().map(|vpc| vpc.id.as_str());
                let is_seen = |scope: &Scope| match scope {
                    Scope::Everyone => true,
                    Scope::Vpcs(ids) => vpc.is_some_and(|vpc| ids.iter().any(|id| id == vpc)),
                };
                let seen = all.iter().filter(|(_, scope)| is_seen(scope));
                view.hosts = seen.map(|(hosts, _)| hosts.clone()).collect();
            });
        }
        self.hosts = all;
    }

    fn each_view(&mut self, edit: impl FnMut(&mut View)) {
        self.views.iter_mut().chain(self.lined.values_mut()).chain([&mut self.outside]).for_each(edit);
    }
}
