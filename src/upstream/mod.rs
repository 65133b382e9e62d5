//! Shell to servers: everything that sends a query upstream and waits for its answer.
