//! What a secondary zone takes from a primary: nothing, what has changed, or the whole zone.

use super::content::is_newer;
use super::copy::ZoneCopy;
use super::secondary::{Refreshed, SecondaryMeans, SecondaryZone};
use super::session::{Primary, TransferError, TransferQuestion, TransferSession, Transferred, compare};
use super::{TransferContent, TransferFault};
use crate::engine::cache::Timestamp;
use tokio::task::spawn_blocking;

impl SecondaryZone {
    /// Asks a primary, and takes over what has changed; from one that is behind the copy nothing, unless the copy
    /// `is_expired`: its serial then counts no more.
    pub(super) async fn ask(
        &self,
        means: &SecondaryMeans,
        primary: &Primary,
        copy: &mut Option<ZoneCopy>,
        is_expired: bool,
    ) -> Result<Refreshed, TransferError> {
        let _permits = means.limits.begin(primary.address.ip()).await;
        let mut session = TransferSession::begin(primary).await?;
        let theirs = session.soa(&self.plan().apex).await?;
        let is_behind = match compare(&theirs, copy.as_ref().map(|copy| &copy.soa)) {
            Ok(true) => false,
            Ok(false) => return Ok(Refreshed::Current),
            Err(TransferError::Behind(_)) if is_expired => true,
            Err(error) => return Err(error),
        };
        let mut room = means.limits.room();
        let has_content = !is_behind && copy.as_ref().is_some_and(|copy| copy.content.is_some());
        if let Some(since) = copy.as_ref().map(|copy| copy.soa.clone()).filter(|_| has_content) {
            let asked =
                TransferQuestion { apex: &self.plan().apex, since: Some(&since), most: self.plan().max_size };
            let result = match session.transfer(asked, &mut room).await {
                Ok(transferred) => self.take(transferred, copy, false).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(refreshed) => return Ok(refreshed),
                Err(error) if error.is_worth_a_full_transfer() => {
                    tracing::debug!(zone = %self.plan().apex, %error, "an incremental transfer is not usable; a full transfer is requested");
                }
                Err(error) => return Err(error),
            }
            session = TransferSession::begin(primary).await?;
            room = means.limits.room();
        }
        let asked = TransferQuestion { apex: &self.plan().apex, since: None, most: self.plan().max_size };
        let transferred = session.transfer(asked, &mut room).await?;
        self.take(transferred, copy, is_behind).await
    }

    /// Takes over what a transfer brought; an older zone only if it `may_be_older`.
    async fn take(
        &self,
        transferred: Transferred,
        copy: &mut Option<ZoneCopy>,
        may_be_older: bool,
    ) -> Result<Refreshed, TransferError> {
        let Transferred { received, outside } = transferred;
        let (apex, most) = (self.plan().apex.clone(), self.plan().max_size);
        match received {
            TransferContent::Current => return Ok(Refreshed::Current),
            TransferContent::Whole(content) => {
                if let Some(copy) = copy.as_ref()
                    && !may_be_older
                    && !is_newer(content.soa.serial(), copy.serial())
                {
                    return Err(TransferFault::NotNewer(content.soa.serial()).into());
                }
                let packing = spawn_blocking(move || {
                    let left_out = content.pack(&apex).1;
                    (ZoneCopy::new(content, &apex, 0, Timestamp::default()), left_out)
                });
                let (fresh, left_out) = packing.await.map_err(|_| TransferFault::Malformed)?;
                if left_out > 0 {
                    tracing::warn!(zone = %self.plan().apex, left_out, "records of the secondary zone conflict with others and are left out");
                }
                if outside > 0 {
                    tracing::warn!(zone = %self.plan().apex, outside, "the primary sent records outside of the zone; they are left out");
                }
                *copy = Some(fresh);
                let mut state = self.lock();
                state.outside = outside;
                state.counts.full += 1;
            }
            TransferContent::Changes(changes) => {
                let Some(copy) = copy.as_mut() else { return Err(TransferFault::Form.into()) };
                let Some(mut content) = copy.content.take() else { return Err(TransferFault::Form.into()) };
                let packed = copy.packed.clone();
                let applying = spawn_blocking(move || {
                    let applied = content.apply(&changes, most);
                    let packed = applied.map(|touched| content.pack_again(&packed, &apex, &touched));
                    (content, packed)
                });
                let (content, packed) = applying.await.map_err(|_| TransferFault::Malformed)?;
                copy.soa = content.soa.clone();
                copy.content = Some(content);
                copy.packed = packed.map_err(TransferError::Misfit)?;
                self.lock().counts.incremental += 1;
            }
        }
        Ok(Refreshed::Changed)
    }
}
