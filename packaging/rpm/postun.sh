# After the old files are gone ($1: how many versions are left). After an upgrade the new version takes over: the
# socket unit keeps running, so queries wait meanwhile instead of being lost. State stays, as rpm packages do it.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart pvtzd.service || echo "pvtzd could not be restarted: see \`journalctl -u pvtzd\`" >&2
    fi
fi
exit 0
