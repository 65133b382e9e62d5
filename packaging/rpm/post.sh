# After the files are there ($1: how many versions are installed then). A first installation starts nothing and
# changes no resolver: port 53 may be somebody's, and who asks whom is the administrator's affair.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
    echo "pvtzd is installed and not started. Its configuration is /etc/pvtzd/pvtzd.toml;"
    echo "\`systemctl enable --now pvtzd\` starts it on 127.0.0.1:53. See /usr/share/doc/pvtzd/install.md"
fi
exit 0
