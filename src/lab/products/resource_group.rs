//! The resource groups that the lab has: one for all that names none, and another.

use crate::api::ApiError;

/// The resource group of what names none.
pub(super) const DEFAULT_GROUP: &str = "rg-acfmpvtzdlab001";

/// The resource groups: id, name, display name.
pub(super) const GROUPS: [(&str, &str, &str); 2] =
    [(DEFAULT_GROUP, "default resource group", "default"), ("rg-acfmpvtzdlab002", "pvtzd-lab", "pvtzd-lab")];

/// True for the id of a group.
pub(super) fn is_group(id: &str) -> bool {
    GROUPS.iter().any(|(known, ..)| *known == id)
}

/// A group that does not exist.
pub(super) fn no_group() -> ApiError {
    ApiError::new("EntityNotExist.ResourceGroup", "The specified resource group does not exist.")
        .with_status(404)
}
