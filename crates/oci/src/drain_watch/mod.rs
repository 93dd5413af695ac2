//! On a media node: notices that its instance was chosen for removal, drains, and asks the function to end it.
