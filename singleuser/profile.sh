# shellcheck shell=sh
# A login shell, such as a terminal of JupyterLab: Debian's /etc/profile has replaced the PATH of the container. The
# shell gets back the PATH that it was started with.
dockyard_path=$(tr '\0' '\n' <"/proc/$$/environ" 2>/dev/null | sed -n 's/^PATH=//p')
case ":$dockyard_path:" in
  *:/opt/notebook/bin:*) PATH=$dockyard_path ;;
  # As after `su -`, which does not pass on the PATH.
  *) PATH=/opt/notebook/bin:$PATH:/home/jovyan/.local/bin ;;
esac
export PATH
unset dockyard_path
