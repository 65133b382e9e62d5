# Before the files go ($1: how many versions are left then). An upgrade leaves everything running.
[ "$1" -eq 0 ] || exit 0

# Without pvtzd nobody answers where a taken resolv.conf leads, so it is given back first, while pvtzd still runs.
if [ -e /var/lib/pvtzd-resolver/resolver.json ]; then
    if ! pvtzd resolver give-back; then
        echo "pvtzd is not removed: this machine's resolver settings lead to it and could not be given back." >&2
        echo "Mend them by hand, or \`pvtzd resolver give-back --force\`; then remove the package again." >&2
        exit 1
    fi
fi
if [ -d /run/systemd/system ]; then
    # Both at once: a query would start the service again by its socket.
    systemctl --no-reload disable --now pvtzd.socket pvtzd.service || :
fi
exit 0
