//! State that a domain keeps for a brand as long as the brand is served, across reloads of its configuration.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// One value of each type.
#[derive(Default)]
pub(crate) struct Components(RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Components {
    /// The value of this type, which is created by the first call.
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let id = TypeId::of::<T>();
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let component = found.unwrap_or_else(|| {
            let mut components = self.0.write().unwrap_or_else(PoisonError::into_inner);
            components.entry(id).or_insert_with(|| Arc::new(T::default())).clone()
        });
        component.downcast().expect("a component is stored under its own type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_is_created_once() {
        let components = Components::default();
        let first = components.get::<std::sync::Mutex<u8>>();
        *first.lock().expect("not poisoned") = 7;
        assert_eq!(*components.get::<std::sync::Mutex<u8>>().lock().expect("not poisoned"), 7);
        assert!(components.get::<String>().is_empty());
    }
}
